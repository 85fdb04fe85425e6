"""Everything on one machine: an embedded store, Airflow, and an example model that goes all the way to an answer."""
