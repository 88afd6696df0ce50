-- Bills as they were accepted, runs that can be continued, differences with their trail.

ALTER TABLE payment_records
  DROP INDEX idx_payment_channel,
  ADD KEY idx_payment_channel (payment_channel, paid_day, channel_order_no);

ALTER TABLE payment_refunds
  ADD COLUMN refunded_day DATE AS (DATE(refunded_at + INTERVAL 8 HOUR)) VIRTUAL COMMENT 'Beijing day of refunded_at',
  ADD KEY idx_refunded_day (payment_channel, refunded_day, channel_refund_no);

ALTER TABLE ledger_entries ADD KEY idx_reference (reference);

CREATE TABLE bills (
  id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  payment_channel VARCHAR(16)  NOT NULL,
  bill_day        DATE         NOT NULL COMMENT 'Beijing day',
  digest          CHAR(64)     NOT NULL COMMENT 'SHA-256 of the file as it came; empty: no business that day',
  state           VARCHAR(16)  NOT NULL COMMENT 'importing, trial, accepted, superseded, refused',
  sums            TEXT         NULL COMMENT 'JSON: kind, currency, rows, minor units',
  fee_1e5         BIGINT       NOT NULL DEFAULT 0 COMMENT 'what the channel kept, 1e-5 yuan',
  reason          VARCHAR(64)  NULL COMMENT 'why it was refused',
  detail          VARCHAR(1024) NULL,
  created_at      DATETIME(3)  NOT NULL,
  changed_at      DATETIME(3)  NOT NULL,
  KEY idx_day (payment_channel, bill_day, state)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE bill_rows (
  bill_id          BIGINT UNSIGNED  NOT NULL,
  kind             TINYINT UNSIGNED NOT NULL COMMENT '0 payment, 1 refund',
  number           VARCHAR(128)     NOT NULL COMMENT 'our number of the order, or of the refund',
  line             INT UNSIGNED     NOT NULL COMMENT 'place in the file',
  channel_order_no VARCHAR(128)     NOT NULL,
  transaction_id   VARCHAR(128)     NOT NULL,
  amount           BIGINT           NOT NULL COMMENT 'minor units, face amount',
  settled          BIGINT           NOT NULL COMMENT 'minor units, after coupons',
  currency         CHAR(3)          NOT NULL,
  fee_1e5          BIGINT           NOT NULL,
  is_foreign       BOOLEAN          NOT NULL COMMENT 'names another merchant or app',
  status           TINYINT UNSIGNED NOT NULL COMMENT '0 done, 1 processing, 2 failed',
  at               DATETIME         NOT NULL COMMENT 'Beijing time',
  PRIMARY KEY (bill_id, kind, number, line)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Who compares a day now.
CREATE TABLE reconciliation_days (
  payment_channel VARCHAR(16) NOT NULL,
  bill_day        DATE        NOT NULL,
  run_id          BIGINT UNSIGNED NULL,
  owner           CHAR(32)    NULL,
  lease_until     DATETIME(3) NULL,
  PRIMARY KEY (payment_channel, bill_day)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

ALTER TABLE reconciliation_runs
  MODIFY finished_at DATETIME(3) NULL COMMENT 'NULL: not finished',
  ADD COLUMN bill_id BIGINT UNSIGNED NULL AFTER bill_day,
  ADD COLUMN progress MEDIUMTEXT NULL COMMENT 'JSON: place, result hash, totals';

ALTER TABLE reconciliation_differences
  DROP INDEX uk_difference,
  DROP INDEX idx_open,
  CHANGE channel_order_no number VARCHAR(128) NOT NULL,
  ADD COLUMN kind VARCHAR(16) NOT NULL DEFAULT 'payment' AFTER bill_day,
  ADD COLUMN line INT UNSIGNED NOT NULL DEFAULT 0 AFTER number,
  ADD COLUMN channel_order_no VARCHAR(128) NOT NULL DEFAULT '' AFTER line,
  ADD COLUMN payment_no VARCHAR(40) NULL AFTER channel_order_no,
  ADD COLUMN refund_no VARCHAR(64) NULL AFTER payment_no,
  ADD COLUMN transaction_id VARCHAR(128) NULL AFTER refund_no,
  ADD COLUMN bill_currency CHAR(3) NULL AFTER bill_minor,
  ADD COLUMN fee_1e5 BIGINT NULL AFTER currency,
  ADD COLUMN at DATETIME NULL COMMENT 'Beijing time' AFTER fee_1e5,
  ADD COLUMN at_the_edge BOOLEAN NOT NULL DEFAULT FALSE AFTER at,
  ADD COLUMN state VARCHAR(16) NOT NULL DEFAULT 'open' COMMENT 'open, waiting, proposed, resolved',
  ADD COLUMN why VARCHAR(255) NOT NULL DEFAULT '',
  ADD COLUMN assignee VARCHAR(64) NULL,
  ADD COLUMN changed_at DATETIME(3) NULL;
UPDATE reconciliation_differences SET channel_order_no = number, bill_currency = currency,
  changed_at = COALESCE(resolved_at, found_at), state = IF(resolved_at IS NULL, 'open', 'resolved');
ALTER TABLE reconciliation_differences
  MODIFY changed_at DATETIME(3) NOT NULL,
  ADD UNIQUE KEY uk_difference (payment_channel, bill_day, kind, number, class, line),
  ADD KEY idx_state (state, id),
  ADD KEY idx_payment_no (payment_no);

-- What was done about each difference, append-only.
CREATE TABLE reconciliation_actions (
  id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  difference_id BIGINT UNSIGNED NOT NULL,
  at            DATETIME(3)  NOT NULL,
  actor         VARCHAR(64)  NOT NULL COMMENT 'system, or a person',
  action        VARCHAR(32)  NOT NULL,
  rule          VARCHAR(32)  NULL COMMENT 'the table of rules it follows',
  reason        VARCHAR(255) NOT NULL DEFAULT '',
  note          VARCHAR(4096) NOT NULL DEFAULT '',
  evidence      TEXT         NOT NULL,
  action_key    VARCHAR(128) NOT NULL,
  payment_channel VARCHAR(16) NOT NULL,
  moved_minor   BIGINT       NULL COMMENT 'counts against the day''s budget',
  UNIQUE KEY uk_action (difference_id, action_key),
  KEY idx_moved (payment_channel, at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
