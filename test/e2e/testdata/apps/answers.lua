-- Checks each answer that wrk gets, and prints how many there were. With the name of
-- a file each must be that file. Else each is a name, always the same, and how many
-- the server has given: that is as many as have come, and those that are on their
-- way. The last argument is the number of connections.
local page, name
local connections, count, highest = 0, 0, 0

function init(args)
	io.stdout:setvbuf("line")
	connections = tonumber(args[#args])
	if #args > 1 then
		page = assert(io.open(args[1], "rb")):read("*a")
	end
end

function delay() return 2 end

local function wrong(status, body)
	if status ~= 200 then
		return "status " .. status
	end
	if page then
		return body ~= page and "another page of " .. #body .. " bytes"
	end
	local who, n = body:match("^(%x+) (%d+)\n$")
	name = name or who
	highest = math.max(highest, tonumber(n) or 0)
	if not who or who ~= name then
		return "not " .. name .. " answers: " .. body
	end
	if highest < count or highest > count + connections then
		return "answer " .. count .. " says " .. body
	end
end

function response(status, headers, body)
	count = count + 1
	local why = wrong(status, body)
	if why then
		print("wrong: " .. why)
	end
	if count % 50 == 0 then
		print(count)
	end
end

function done(summary)
	local e = summary.errors
	print("errors: " .. e.connect + e.read + e.write + e.status + e.timeout)
	print(summary.requests)
end
