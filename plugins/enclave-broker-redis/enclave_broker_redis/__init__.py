"""Sessions and rate limits on Redis or Valkey, shared by any number of brokers."""
