-- Run by mysqld at every start; one statement per line. A shell fills the passwords in, so no
-- other dollar sign, backquote or backslash may stand here. Columns of the coordinator's tables
-- are wider than upstream's, whose row_key overflows with ordinary table names. A user has two
-- passwords, the one beside being the same unless one is rotated, and may change its own.
ALTER USER 'root'@'localhost' IDENTIFIED BY '${ROOT_PASSWORD}';
CREATE DATABASE IF NOT EXISTS payment CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'payment'@'%' IDENTIFIED BY '${PASSWORD}';
ALTER USER 'payment'@'%' IDENTIFIED BY '${PASSWORD_BESIDE}';
ALTER USER 'payment'@'%' IDENTIFIED BY '${PASSWORD}' RETAIN CURRENT PASSWORD;
GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO 'payment'@'%';
GRANT ALL PRIVILEGES ON payment.* TO 'payment'@'%';
CREATE DATABASE IF NOT EXISTS seata CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'seata'@'%' IDENTIFIED BY '${COORDINATOR_PASSWORD}';
ALTER USER 'seata'@'%' IDENTIFIED BY '${COORDINATOR_PASSWORD_BESIDE}';
ALTER USER 'seata'@'%' IDENTIFIED BY '${COORDINATOR_PASSWORD}' RETAIN CURRENT PASSWORD;
GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO 'seata'@'%';
GRANT ALL PRIVILEGES ON seata.* TO 'seata'@'%';
CREATE TABLE IF NOT EXISTS seata.global_table (xid VARCHAR(128) NOT NULL PRIMARY KEY, transaction_id BIGINT, status TINYINT NOT NULL, application_id VARCHAR(64), transaction_service_group VARCHAR(64), transaction_name VARCHAR(128), timeout INT, begin_time BIGINT, application_data VARCHAR(2000), gmt_create DATETIME, gmt_modified DATETIME, KEY idx_status_gmt_modified (status, gmt_modified), KEY idx_transaction_id (transaction_id)) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS seata.branch_table (branch_id BIGINT NOT NULL PRIMARY KEY, xid VARCHAR(128) NOT NULL, transaction_id BIGINT, resource_group_id VARCHAR(32), resource_id VARCHAR(256), branch_type VARCHAR(8), status TINYINT, client_id VARCHAR(128), application_data VARCHAR(2000), gmt_create DATETIME(6), gmt_modified DATETIME(6), KEY idx_xid (xid)) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS seata.lock_table (row_key VARCHAR(512) NOT NULL PRIMARY KEY, xid VARCHAR(128), transaction_id BIGINT, branch_id BIGINT NOT NULL, resource_id VARCHAR(256), table_name VARCHAR(64), pk VARCHAR(256), status TINYINT NOT NULL DEFAULT 0, gmt_create DATETIME, gmt_modified DATETIME, KEY idx_status (status), KEY idx_branch_id (branch_id), KEY idx_xid (xid)) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS seata.distributed_lock (lock_key CHAR(20) NOT NULL PRIMARY KEY, lock_value VARCHAR(64) NOT NULL, expire BIGINT) ENGINE=InnoDB;
INSERT IGNORE INTO seata.distributed_lock VALUES ('AsyncCommitting',' ',0),('RetryCommitting',' ',0),('RetryRollbacking',' ',0),('TxTimeoutCheck',' ',0),('UndologDelete',' ',0);
CREATE TABLE IF NOT EXISTS seata.vgroup_table (vGroup VARCHAR(255) PRIMARY KEY, namespace VARCHAR(255), cluster VARCHAR(255)) ENGINE=InnoDB;
