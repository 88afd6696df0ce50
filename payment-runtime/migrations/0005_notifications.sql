-- Messages about differences: written with what they tell of, delivered by whoever comes first.
CREATE TABLE reconciliation_notifications (
  id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  message_id      VARCHAR(64)  NOT NULL COMMENT 'the same for every delivery',
  event           VARCHAR(190) NOT NULL COMMENT 'what it is about; one event is told once',
  type            VARCHAR(64)  NOT NULL,
  body            TEXT         NOT NULL COMMENT 'JSON below 20 kB; emptied long after the end',
  created_at      DATETIME(3)  NOT NULL,
  attempts        INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'deliveries that were begun',
  failures        INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'deliveries that failed',
  next_attempt_at DATETIME(3)  NULL COMMENT 'NULL: at its end',
  outcome         VARCHAR(16)  NULL COMMENT 'sent, or given-up',
  detail          VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'why the last delivery failed',
  ended_at        DATETIME(3)  NULL,
  UNIQUE KEY uk_message_id (message_id),
  UNIQUE KEY uk_event (event),
  KEY idx_next_attempt_at (next_attempt_at),
  KEY idx_ended_at (ended_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

ALTER TABLE reconciliation_differences
  ADD COLUMN told VARCHAR(16) NULL COMMENT 'what the last message said: found, resolved',
  ADD COLUMN told_by BIGINT UNSIGNED NULL COMMENT 'that message',
  ADD KEY idx_told (told, state),
  ADD KEY idx_told_by (told_by);
-- What ended before there were messages is no news.
UPDATE reconciliation_differences SET told = 'resolved' WHERE state = 'resolved';
