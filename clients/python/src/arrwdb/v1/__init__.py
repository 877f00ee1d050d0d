"""The wire: messages that protoc makes of proto/, and stubs over them. Made by generate.py."""
