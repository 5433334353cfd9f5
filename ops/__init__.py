"""The operator's commands: what is done beside ``pulumi up``. None of them imports a cloud SDK before it needs one."""
