//! The table that AT needs in every database it writes to.

/// Creates the undo log's table, as Java's clients have it too.
pub const UNDO_LOG_DDL: &str = "\
CREATE TABLE IF NOT EXISTS `undo_log` (
    `branch_id`     BIGINT       NOT NULL COMMENT 'branch transaction id',
    `xid`           VARCHAR(128) NOT NULL COMMENT 'global transaction id',
    `context`       VARCHAR(128) NOT NULL COMMENT 'serializer, compression, parts',
    `rollback_info` LONGBLOB     NOT NULL COMMENT 'images of the changed rows',
    `log_status`    INT          NOT NULL COMMENT '0: can be undone, 1: marker',
    `log_created`   DATETIME(6)  NOT NULL COMMENT 'when it was written',
    `log_modified`  DATETIME(6)  NOT NULL COMMENT 'when it was last changed',
    UNIQUE KEY `ux_undo_log` (`xid`, `branch_id`),
    KEY `ix_log_created` (`log_created`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COMMENT = 'undo log of global transactions'";
