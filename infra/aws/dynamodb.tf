# It costs nothing while nobody takes a lease.
resource "aws_dynamodb_table" "leases" {
  name         = "${var.name}-leases"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "table_uri"

  attribute {
    name = "table_uri"
    type = "S"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }
}

# As S3DynamoDBLogStore makes it. It holds commits: deleting it while one is half done loses it.
resource "aws_dynamodb_table" "delta_log" {
  count        = var.commit_mode == "dynamodb" && var.create_delta_log_table ? 1 : 0
  name         = var.delta_log_table
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "tablePath"
  range_key    = "fileName"

  attribute {
    name = "tablePath"
    type = "S"
  }

  attribute {
    name = "fileName"
    type = "S"
  }

  ttl {
    attribute_name = "expireTime"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  lifecycle {
    prevent_destroy = true
  }
}
