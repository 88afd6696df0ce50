-- Answers under a key get rows of their own: they are written once and never changed, where a key's
-- row grew to several times its size in the middle of its page, which cost more than all else that
-- a payment writes.
--
-- A key with an answer cannot be deleted before it (the foreign key), so that of everybody who
-- works on a request only the first answers it.
CREATE TABLE idempotency_answers (
  key_id       BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  status       SMALLINT UNSIGNED NOT NULL,
  content_type VARCHAR(64)  NOT NULL,
  location     VARCHAR(255) NULL,
  body         MEDIUMTEXT   NOT NULL,
  CONSTRAINT fk_answer_key FOREIGN KEY (key_id) REFERENCES idempotency_keys (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- From here on the version before can neither give nor repeat an answer under a key (503), so none
-- is missed by the copy.
ALTER TABLE idempotency_keys RENAME COLUMN status TO given_status;

INSERT INTO idempotency_answers (key_id, status, content_type, location, body)
SELECT id, given_status, COALESCE(content_type, ''), location, COALESCE(body, '')
FROM idempotency_keys WHERE given_status IS NOT NULL;

-- Keys are forgotten from the oldest id on, which needs no index of times.
ALTER TABLE idempotency_keys
  DROP COLUMN given_status,
  DROP COLUMN content_type,
  DROP COLUMN location,
  DROP COLUMN body,
  DROP INDEX idx_created_at;
