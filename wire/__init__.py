"""What travels between coordinator and agents: messages, topics, signatures, and the one module that talks MQTT."""
