#!/usr/bin/env escript
%% Counts its answers, after a name that it gives itself when it starts.
-mode(compile).

main(_) ->
    Name = io_lib:format("~16.16.0b", [rand:uniform(1 bsl 62)]),
    {ok, Listen} = gen_tcp:listen(8000, [binary, {packet, http_bin}, {active, false}, {reuseaddr, true}, {nodelay, true}, {backlog, 64}]),
    accept(Listen, Name, atomics:new(1, [])).

accept(Listen, Name, Count) ->
    {ok, Socket} = gen_tcp:accept(Listen),
    Server = spawn(fun() -> receive yours -> serve(Socket, Name, Count) end end),
    ok = gen_tcp:controlling_process(Socket, Server),
    Server ! yours,
    accept(Listen, Name, Count).

serve(Socket, Name, Count) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, http_eoh} ->
            Body = iolist_to_binary(io_lib:format("~s ~b~n", [Name, atomics:add_get(Count, 1, 1)])),
            ok = gen_tcp:send(Socket, io_lib:format("HTTP/1.1 200 OK\r\nContent-Length: ~b\r\n\r\n~s", [byte_size(Body), Body])),
            serve(Socket, Name, Count);
        {ok, _} ->
            serve(Socket, Name, Count);
        {error, closed} ->
            ok
    end.
