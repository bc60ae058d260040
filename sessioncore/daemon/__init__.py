"""The daemon and the commands: options, service, how calls are answered and placed."""
