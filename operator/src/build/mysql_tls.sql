-- Run by mysqld at every start of a server with a certificate; one statement per line. A renewed
-- certificate is taken up by new connections; files that cannot be used change nothing.
CREATE DEFINER='root'@'localhost' EVENT IF NOT EXISTS mysql.reload_certificates ON SCHEDULE EVERY 1 HOUR DO ALTER INSTANCE RELOAD TLS;
