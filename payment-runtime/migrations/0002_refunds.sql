-- Refunds, further attempts of one order, what the payer's side is given, keys of requests.
ALTER TABLE payment_records
  ADD COLUMN attempt        INT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'which try for this order' AFTER business_no,
  ADD COLUMN payer          VARCHAR(2048) NOT NULL DEFAULT '{}' COMMENT 'JSON: what the channel must know of the payer' AFTER subject,
  ADD COLUMN action         TEXT NULL COMMENT 'JSON: what the payer''s side does next' AFTER action_url,
  ADD COLUMN given_up       BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'charged after it was closed or failed' AFTER status,
  ADD COLUMN reserved_minor BIGINT NOT NULL DEFAULT 0 COMMENT 'refunds that succeeded or still may' AFTER paid_day,
  ADD COLUMN refunded_minor BIGINT NOT NULL DEFAULT 0 COMMENT 'refunds that succeeded' AFTER reserved_minor,
  ADD COLUMN refund_count   INT UNSIGNED NOT NULL DEFAULT 0 AFTER refunded_minor,
  ADD COLUMN last_refund_at DATETIME(3) NULL COMMENT 'when the last refund was or will be submitted' AFTER refund_count,
  DROP INDEX uk_business_no,
  ADD UNIQUE KEY uk_order_attempt (business_no, attempt);

UPDATE payment_records SET action = JSON_OBJECT('type', 'QR_CODE', 'url', action_url)
WHERE action_url IS NOT NULL;

ALTER TABLE payment_records DROP COLUMN action_url;

ALTER TABLE payment_events
  ADD COLUMN refund_no VARCHAR(64) NULL COMMENT 'set: the line is about this refund' AFTER transaction_id;

ALTER TABLE callback_inbox
  ADD COLUMN refund_state      VARCHAR(16) NULL COMMENT 'NULL: not about a refund' AFTER paid_at,
  ADD COLUMN channel_refund_no VARCHAR(64) NULL AFTER refund_state,
  ADD COLUMN channel_refund_id VARCHAR(64) NULL AFTER channel_refund_no,
  ADD COLUMN refund_amount     BIGINT NULL COMMENT 'minor units; NULL: the channel did not say' AFTER channel_refund_id,
  ADD COLUMN refunded_at       DATETIME(3) NULL AFTER refund_amount,
  DROP INDEX uk_event,
  ADD UNIQUE KEY uk_event (payment_channel, transaction_id, event, amount) COMMENT 'with the amount: a wrong one must not stand in for the right one';

CREATE TABLE payment_refunds (
  id                BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  refund_no         VARCHAR(64)  NOT NULL COMMENT 'refundNo of the API, unique within its payment',
  payment_no        VARCHAR(40)  NOT NULL,
  payment_channel   VARCHAR(16)  NOT NULL,
  channel_order_no  VARCHAR(32)  NOT NULL,
  channel_refund_no VARCHAR(64)  NOT NULL COMMENT 'what the channel knows as out_refund_no or out_request_no',
  amount            BIGINT       NOT NULL COMMENT 'minor units',
  payment_amount    BIGINT       NOT NULL COMMENT 'minor units of the whole payment',
  currency          CHAR(3)      NOT NULL,
  reason            VARCHAR(80)  NULL,
  request_hash      CHAR(64)     NOT NULL,
  origin            VARCHAR(20)  NOT NULL COMMENT 'api, paid-after-close',
  status            VARCHAR(20)  NOT NULL,
  channel_refund_id VARCHAR(64)  NULL,
  refunded_at       DATETIME(3)  NULL COMMENT 'UTC, by the channel',
  attention         BOOLEAN      NOT NULL DEFAULT FALSE COMMENT 'stuck at the channel until a person acts there',
  question_count    INT UNSIGNED NOT NULL DEFAULT 0,
  next_question_at  DATETIME(3)  NULL,
  lease_until       DATETIME(3)  NULL,
  created_at        DATETIME(3)  NOT NULL,
  updated_at        DATETIME(3)  NOT NULL,
  UNIQUE KEY uk_payment_refund (payment_no, refund_no),
  UNIQUE KEY uk_channel_refund_no (payment_channel, channel_refund_no),
  KEY idx_next_question_at (next_question_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Requests that came with an Idempotency-Key, and the answers they got.
CREATE TABLE idempotency_keys (
  id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  scope        VARCHAR(120) NOT NULL COMMENT 'method and path',
  request_key  VARCHAR(255) NOT NULL,
  body_hash    CHAR(64)     NOT NULL COMMENT 'SHA-256 of the body',
  lease_until  DATETIME(3)  NOT NULL COMMENT 'without an answer by then, the request may be taken over',
  status       SMALLINT UNSIGNED NULL COMMENT 'NULL: no answer yet',
  content_type VARCHAR(64)  NULL,
  location     VARCHAR(255) NULL,
  body         MEDIUMTEXT   NULL,
  created_at   DATETIME(3)  NOT NULL,
  UNIQUE KEY uk_key (scope, request_key),
  KEY idx_created_at (created_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
