-- The ledger: entries are transfers between two accounts, appended in the transaction that moved
-- the money's record, never changed. docs/ledger.md says what is posted when.
CREATE TABLE ledger_entries (
  id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  entry_key       VARCHAR(190) NOT NULL COMMENT 'whoever writes the same again writes nothing',
  shard           TINYINT UNSIGNED NOT NULL COMMENT 'which chain of seals',
  payment_no      VARCHAR(40)  NULL,
  refund_no       VARCHAR(64)  NULL,
  payment_channel VARCHAR(16)  NOT NULL,
  debit_account   VARCHAR(32)  NOT NULL,
  credit_account  VARCHAR(32)  NOT NULL,
  amount          BIGINT       NOT NULL COMMENT 'minor units',
  currency        CHAR(3)      NOT NULL,
  day             DATE         NOT NULL COMMENT 'Beijing value day: the day of the bill',
  cause           VARCHAR(32)  NOT NULL,
  source          VARCHAR(32)  NOT NULL COMMENT 'whose evidence',
  actor           VARCHAR(64)  NOT NULL COMMENT 'system, or a person',
  rule_version    VARCHAR(32)  NULL COMMENT 'the rule that decided, if one did',
  reference       VARCHAR(128) NOT NULL COMMENT 'what identifies the evidence',
  recorded_at     DATETIME(3)  NOT NULL,
  UNIQUE KEY uk_entry_key (entry_key),
  KEY idx_payment_no (payment_no, id),
  KEY idx_debit (debit_account, currency, day, id),
  KEY idx_credit (credit_account, currency, day, id),
  CONSTRAINT ck_ledger_amount CHECK (amount > 0),
  CONSTRAINT ck_ledger_accounts CHECK (debit_account <> credit_account)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Entries that wait for their seal.
CREATE TABLE ledger_unsealed (
  shard    TINYINT UNSIGNED NOT NULL,
  entry_id BIGINT UNSIGNED  NOT NULL,
  PRIMARY KEY (shard, entry_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- One chain of hashes for each shard.
CREATE TABLE ledger_seals (
  shard    TINYINT UNSIGNED NOT NULL,
  sequence BIGINT UNSIGNED  NOT NULL COMMENT '1, 2, … without a hole',
  entry_id BIGINT UNSIGNED  NOT NULL,
  hash     CHAR(64)         NOT NULL COMMENT 'SHA-256 of the hash before and of the entry',
  PRIMARY KEY (shard, sequence),
  UNIQUE KEY uk_entry_id (entry_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The ends of the chains. Whoever seals holds the row.
CREATE TABLE ledger_shards (
  shard         TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  last_sequence BIGINT UNSIGNED  NOT NULL DEFAULT 0,
  last_hash     CHAR(64)         NOT NULL,
  created_at    DATETIME(3)      NOT NULL COMMENT 'payments before it need opening entries',
  opened        BOOLEAN          NOT NULL DEFAULT FALSE COMMENT 'they have them all'
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT INTO ledger_shards (shard, last_hash, created_at) VALUES
  (0, REPEAT('0', 64), UTC_TIMESTAMP(3)),
  (1, REPEAT('0', 64), UTC_TIMESTAMP(3)),
  (2, REPEAT('0', 64), UTC_TIMESTAMP(3)),
  (3, REPEAT('0', 64), UTC_TIMESTAMP(3));

-- Sums of the sealed entries; a shard has rows of its own, so that shards never wait for another.
CREATE TABLE ledger_balances (
  account      VARCHAR(32)      NOT NULL,
  currency     CHAR(3)          NOT NULL,
  day          DATE             NOT NULL,
  shard        TINYINT UNSIGNED NOT NULL,
  debit_minor  BIGINT           NOT NULL,
  credit_minor BIGINT           NOT NULL,
  entries      BIGINT UNSIGNED  NOT NULL,
  PRIMARY KEY (account, currency, day, shard)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
