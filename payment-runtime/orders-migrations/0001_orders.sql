-- Orders and stock. Rows have numbers of their own as keys: global locks name them, and a
-- merchant's own ids may have characters that a list of locks cannot hold.
CREATE TABLE orders (
  id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  order_id   VARCHAR(64) NOT NULL,
  status     VARCHAR(16) NOT NULL COMMENT 'OPEN, PAID',
  payment_id VARCHAR(64) NULL COMMENT 'what paid it',
  amount     BIGINT      NOT NULL COMMENT 'minor units',
  currency   CHAR(3)     NOT NULL,
  created_at DATETIME(3) NOT NULL,
  paid_at    DATETIME(3) NULL,
  UNIQUE KEY uk_order_id (order_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE order_items (
  id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  order_id   VARCHAR(64) NOT NULL,
  product_id VARCHAR(64) NOT NULL,
  quantity   BIGINT UNSIGNED NOT NULL,
  UNIQUE KEY uk_order_product (order_id, product_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- A product's stock is the sum of its buckets: buyers of one product meet in different rows.
CREATE TABLE stock (
  id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  product_id VARCHAR(64) NOT NULL,
  bucket     INT UNSIGNED NOT NULL,
  available  BIGINT UNSIGNED NOT NULL,
  UNIQUE KEY uk_product_bucket (product_id, bucket)
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
