"""PHP bots: as CGI, by FastCGI with a PHP of ours or of the host, and where to find PHP."""
