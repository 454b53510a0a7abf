-- What sysbench does: it moves amounts in transactions of three statements, whose
-- sums always agree.
local connection

function prepare()
	local c = sysbench.sql.driver():connect()
	for _, name in ipairs({"accounts", "tellers"}) do
		c:query("CREATE TABLE " .. name .. " (id INT PRIMARY KEY, total BIGINT NOT NULL)")
		for id = 1, 100 do
			c:query(string.format("INSERT INTO %s VALUES (%d, 0)", name, id))
		end
	end
	c:query("CREATE TABLE history (id BIGINT AUTO_INCREMENT PRIMARY KEY, account INT, teller INT, amount BIGINT, INDEX (account), INDEX (teller))")
end

function thread_init()
	connection = sysbench.sql.driver():connect()
end

function event()
	local account, teller, amount = sysbench.rand.uniform(1, 100), sysbench.rand.uniform(1, 100), sysbench.rand.uniform(1, 1000)
	connection:query("BEGIN")
	connection:query(string.format("UPDATE accounts SET total = total + %d WHERE id = %d", amount, account))
	connection:query(string.format("UPDATE tellers SET total = total + %d WHERE id = %d", amount, teller))
	connection:query(string.format("INSERT INTO history (account, teller, amount) VALUES (%d, %d, %d)", account, teller, amount))
	connection:query("COMMIT")
end
