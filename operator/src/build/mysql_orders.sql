-- Follows mysql_init.sql where the order service comes with the system; under the same rules.
CREATE DATABASE IF NOT EXISTS orders CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'orders'@'%' IDENTIFIED BY '${ORDERS_PASSWORD}';
ALTER USER 'orders'@'%' IDENTIFIED BY '${ORDERS_PASSWORD_BESIDE}';
ALTER USER 'orders'@'%' IDENTIFIED BY '${ORDERS_PASSWORD}' RETAIN CURRENT PASSWORD;
GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO 'orders'@'%';
GRANT ALL PRIVILEGES ON orders.* TO 'orders'@'%';
