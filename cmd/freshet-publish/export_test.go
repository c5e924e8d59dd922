package main

// Main is the whole program.
func Main() { main() }
