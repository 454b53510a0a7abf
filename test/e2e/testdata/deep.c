/* Two threads, each some calls deep, for a debugger. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static volatile int answer = 42;

__attribute__((noinline)) static void innermost(int n)
{
	for (;;) {
		printf("%d\n", n++);
		fflush(stdout);
		usleep(100000);
	}
}

__attribute__((noinline)) static void sleeper(void)
{
	for (;;)
		pause();
}

__attribute__((noinline)) static void *worker(void *arg)
{
	sleeper();
	answer++;
	return arg;
}

int main(void)
{
	pthread_t t;

	pthread_create(&t, 0, worker, 0);
	innermost(1);
	return answer;
}
