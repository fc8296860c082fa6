"""What differs between SQLite, MySQL, MariaDB and Galera: connections, words of SQL, meanings of errors."""
