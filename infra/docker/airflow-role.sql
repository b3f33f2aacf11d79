-- At the database's first start: Airflow's role owns its database and nothing else.
\getenv password AIRFLOW_DATABASE_PASSWORD
create role airflow login nosuperuser nocreatedb nocreaterole password :'password';
create database airflow owner airflow encoding 'UTF8';
revoke all on database airflow from public;
