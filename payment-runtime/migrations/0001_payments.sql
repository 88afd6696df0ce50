-- Payments. The unique keys, not the cache, decide that one order is charged once.
CREATE TABLE payment_records (
  id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  payment_no       VARCHAR(40)  NOT NULL COMMENT 'paymentId of the API',
  business_no      VARCHAR(64)  NOT NULL COMMENT 'orderId of the API',
  user_id          VARCHAR(64)  NOT NULL,
  payment_channel  VARCHAR(16)  NOT NULL,
  method           VARCHAR(16)  NOT NULL,
  channel_order_no VARCHAR(32)  NOT NULL COMMENT 'what the channel knows as out_trade_no',
  amount           BIGINT       NOT NULL COMMENT 'minor units',
  currency         CHAR(3)      NOT NULL,
  subject          VARCHAR(128) NOT NULL,
  request_hash     CHAR(64)     NOT NULL COMMENT 'SHA-256 of the canonical request',
  status           VARCHAR(20)  NOT NULL,
  notify_status    VARCHAR(16)  NOT NULL DEFAULT 'NONE' COMMENT 'NONE, RECEIVED',
  action_url       VARCHAR(1024) NULL COMMENT 'what the payer opens or scans',
  transaction_id   VARCHAR(64)  NULL COMMENT 'the channel''s own number',
  paid_at          DATETIME(3)  NULL COMMENT 'UTC, by the channel',
  paid_day         DATE         NULL COMMENT 'Beijing day of paid_at: the day of the bill',
  expires_at       DATETIME(3)  NOT NULL,
  question_count   INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'questions asked so far: place on the polling ladder',
  next_question_at DATETIME(3)  NULL COMMENT 'when to ask the channel again; NULL: nothing is open',
  lease_until      DATETIME(3)  NULL COMMENT 'a worker holds the payment until then',
  created_at       DATETIME(3)  NOT NULL,
  updated_at       DATETIME(3)  NOT NULL,
  UNIQUE KEY uk_payment_no (payment_no),
  UNIQUE KEY uk_business_no (business_no),
  UNIQUE KEY uk_channel_order_no (channel_order_no),
  KEY idx_payment_channel (payment_channel, paid_day),
  KEY idx_next_question_at (next_question_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What happened to each payment, append-only, written in the transaction that changed it. Its
-- ids are the order in which downstream consumers read it (the outbox).
CREATE TABLE payment_events (
  id             BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  payment_no     VARCHAR(40)  NOT NULL,
  at             DATETIME(3)  NOT NULL,
  source         VARCHAR(16)  NOT NULL COMMENT 'api, clock, answer, query, callback, bill',
  observation    VARCHAR(32)  NOT NULL,
  from_status    VARCHAR(20)  NULL,
  to_status      VARCHAR(20)  NOT NULL,
  decision       VARCHAR(32)  NOT NULL COMMENT 'moved, kept, or why it was not believed',
  transaction_id VARCHAR(64)  NULL,
  detail         VARCHAR(512) NOT NULL DEFAULT '',
  KEY idx_payment_no (payment_no, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Verified callbacks as they came, acknowledged once they are here.
CREATE TABLE callback_inbox (
  id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  payment_channel  VARCHAR(16)  NOT NULL,
  channel_order_no VARCHAR(32)  NOT NULL,
  transaction_id   VARCHAR(64)  NOT NULL,
  event            VARCHAR(96)  NOT NULL,
  observed         VARCHAR(16)  NOT NULL COMMENT 'PAID, CLOSED or another state the channel named',
  amount           BIGINT       NOT NULL,
  currency         CHAR(3)      NOT NULL,
  paid_at          DATETIME(3)  NULL,
  headers          TEXT         NOT NULL,
  body             MEDIUMBLOB   NOT NULL,
  received_at      DATETIME(3)  NOT NULL,
  attempts         INT UNSIGNED NOT NULL DEFAULT 0,
  next_attempt_at  DATETIME(3)  NULL COMMENT 'NULL: processed or given up',
  outcome          VARCHAR(32)  NULL,
  UNIQUE KEY uk_event (payment_channel, transaction_id, event),
  KEY idx_next_attempt_at (next_attempt_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE reconciliation_runs (
  id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  payment_channel VARCHAR(16) NOT NULL,
  bill_day        DATE        NOT NULL COMMENT 'Beijing day',
  started_at      DATETIME(3) NOT NULL,
  finished_at     DATETIME(3) NOT NULL,
  bill_rows       BIGINT      NOT NULL,
  matched         BIGINT      NOT NULL,
  differences     BIGINT      NOT NULL,
  bill_minor      BIGINT      NOT NULL COMMENT 'sum of the bill''s charges, minor units',
  matched_minor   BIGINT      NOT NULL COMMENT 'sum of the matched charges, minor units',
  KEY idx_channel_day (payment_channel, bill_day, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE reconciliation_differences (
  id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  payment_channel  VARCHAR(16) NOT NULL,
  bill_day         DATE        NOT NULL,
  channel_order_no VARCHAR(64) NOT NULL,
  class            VARCHAR(32) NOT NULL,
  our_status       VARCHAR(20) NULL,
  our_minor        BIGINT      NULL,
  bill_minor       BIGINT      NULL,
  currency         CHAR(3)     NOT NULL,
  first_run_id     BIGINT UNSIGNED NOT NULL,
  last_run_id      BIGINT UNSIGNED NOT NULL,
  found_at         DATETIME(3) NOT NULL,
  resolved_at      DATETIME(3) NULL COMMENT 'NULL: open',
  resolution       VARCHAR(64) NULL,
  UNIQUE KEY uk_difference (payment_channel, bill_day, channel_order_no, class),
  KEY idx_open (resolved_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
