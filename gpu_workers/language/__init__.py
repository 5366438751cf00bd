"""What engines of language models share: messages, calls of tools, seats, upstreams; vLLM in a process of its own."""
