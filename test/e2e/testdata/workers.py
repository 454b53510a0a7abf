"""Three processes pass a counter round by pipes and print it."""
import multiprocessing
import time


def add(inbox, outbox):
    while True:
        outbox.send(inbox.recv() + 1)


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    first_in, first_out = multiprocessing.Pipe(duplex=False)
    second_in, second_out = multiprocessing.Pipe(duplex=False)
    last_in, last_out = multiprocessing.Pipe(duplex=False)
    for ends in ((first_in, second_out), (second_in, last_out)):
        multiprocessing.Process(target=add, args=ends, daemon=True).start()
    count = 0
    while True:
        first_out.send(count)
        count = last_in.recv()
        print(count, flush=True)
        time.sleep(0.05)
