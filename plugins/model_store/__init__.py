"""The model store in Airflow: hook, operators, sensor, links, the DAG of a model, and the Models page.

For DAGs of your own::

    from model_store.hook import ModelStoreHook
    from model_store.operators import FetchVersionOperator, PromoteVersionOperator, RegisterVersionOperator
    from model_store.sensor import ModelVersionSensor
"""
