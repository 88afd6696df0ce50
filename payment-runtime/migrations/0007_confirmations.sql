-- Charged payments are confirmed with the order service in a global transaction, and what a
-- payment is for is kept with it.
ALTER TABLE payment_records
  ADD COLUMN items TEXT NULL COMMENT 'JSON: what is bought; NULL: nothing was said' AFTER payer;

-- In a global transaction only state, xid, reason and ended_at are changed, and only there or
-- under its locks: what undoes a branch compares them.
CREATE TABLE payment_confirmations (
  payment_no  VARCHAR(40)  NOT NULL PRIMARY KEY,
  state       VARCHAR(16)  NOT NULL COMMENT 'waiting, confirmed, refused',
  xid         VARCHAR(128) NULL COMMENT 'the global transaction that confirmed it',
  reason      VARCHAR(32)  NULL COMMENT 'why it was refused',
  ended_at    DATETIME(3)  NULL COMMENT 'when it was confirmed or refused',
  told        BOOLEAN      NOT NULL DEFAULT FALSE COMMENT 'its end stands in payment_events',
  attempts    INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'looks of a worker',
  asked       INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'tries that the order service did not answer clearly',
  attention   BOOLEAN      NOT NULL DEFAULT FALSE COMMENT 'refused, and a person decides about its money',
  problem     VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'why the last try came to nothing',
  next_try_at DATETIME(3)  NULL COMMENT 'NULL: nothing is left to do',
  lease_until DATETIME(3)  NULL COMMENT 'a worker holds it until then',
  created_at  DATETIME(3)  NOT NULL,
  KEY idx_next_try_at (next_try_at),
  KEY idx_state (state, created_at),
  KEY idx_attention (attention)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- As every client of the transaction coordinator has it.
CREATE TABLE undo_log (
  branch_id     BIGINT       NOT NULL COMMENT 'branch transaction id',
  xid           VARCHAR(128) NOT NULL COMMENT 'global transaction id',
  context       VARCHAR(128) NOT NULL COMMENT 'serializer, compression, parts',
  rollback_info LONGBLOB     NOT NULL COMMENT 'images of the changed rows',
  log_status    INT          NOT NULL COMMENT '0: can be undone, 1: marker',
  log_created   DATETIME(6)  NOT NULL,
  log_modified  DATETIME(6)  NOT NULL,
  UNIQUE KEY ux_undo_log (xid, branch_id),
  KEY ix_log_created (log_created)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
