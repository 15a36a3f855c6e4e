"""The embedded models: the stories they are trained on, their tokenizer, their training. The core never imports this."""
