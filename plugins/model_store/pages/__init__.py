"""The Models page: what the model store holds, for people; read-only."""
