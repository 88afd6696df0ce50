-- Follows mysql_init.sql where the order service comes with the system; under the same rules.
CREATE DATABASE IF NOT EXISTS orders CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'orders'@'%' IDENTIFIED BY '${ORDERS_PASSWORD}';
ALTER USER 'orders'@'%' IDENTIFIED BY '${ORDERS_PASSWORD}';
GRANT ALL PRIVILEGES ON orders.* TO 'orders'@'%';
