"""What is in the database: jobs and the verbs on them. The only place with SQL."""
