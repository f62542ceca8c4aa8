"""The northbound REST API: resources as typed operations, and the OpenAPI 3.1 document made from the same types."""
