"""All input and output: journal, recordings, paper broker, sockets, signals, terminal."""
