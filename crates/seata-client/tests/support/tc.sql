-- What a coordinator with its store in MySQL reads and writes. Wider than upstream's: its row_key is
-- resource^^^table^^^key, which ordinary names overflow; and branch_table.gmt_create has to tell apart
-- branches of one second, or they are rolled back in any order.
CREATE TABLE global_table (xid VARCHAR(128) NOT NULL PRIMARY KEY, transaction_id BIGINT, status TINYINT NOT NULL,
  application_id VARCHAR(64), transaction_service_group VARCHAR(64), transaction_name VARCHAR(128), timeout INT,
  begin_time BIGINT, application_data VARCHAR(2000), gmt_create DATETIME, gmt_modified DATETIME,
  KEY idx_status_gmt_modified (status, gmt_modified), KEY idx_transaction_id (transaction_id));
CREATE TABLE branch_table (branch_id BIGINT NOT NULL PRIMARY KEY, xid VARCHAR(128) NOT NULL, transaction_id BIGINT,
  resource_group_id VARCHAR(32), resource_id VARCHAR(256), branch_type VARCHAR(8), status TINYINT,
  client_id VARCHAR(128), application_data VARCHAR(2000), gmt_create DATETIME(6), gmt_modified DATETIME(6),
  KEY idx_xid (xid));
CREATE TABLE lock_table (row_key VARCHAR(512) NOT NULL PRIMARY KEY, xid VARCHAR(128), transaction_id BIGINT,
  branch_id BIGINT NOT NULL, resource_id VARCHAR(256), table_name VARCHAR(64), pk VARCHAR(256),
  status TINYINT NOT NULL DEFAULT 0, gmt_create DATETIME, gmt_modified DATETIME,
  KEY idx_status (status), KEY idx_branch_id (branch_id), KEY idx_xid (xid));
CREATE TABLE distributed_lock (lock_key CHAR(20) NOT NULL PRIMARY KEY, lock_value VARCHAR(64) NOT NULL, expire BIGINT);
INSERT INTO distributed_lock VALUES ('AsyncCommitting',' ',0),('RetryCommitting',' ',0),('RetryRollbacking',' ',0),
  ('TxTimeoutCheck',' ',0),('UndologDelete',' ',0);
