# Where the files land: a bucket of ours with a notification, or one that was there before and tells
# EventBridge. (A notification on somebody else's bucket would replace all that it has.)

resource "aws_s3_bucket" "landing" {
  count  = var.create_landing_bucket ? 1 : 0
  bucket = var.landing_bucket

  # What landed is not Terraform's to delete.
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "landing" {
  count  = var.create_landing_bucket ? 1 : 0
  bucket = aws_s3_bucket.landing[0].id

  rule {
    bucket_key_enabled = var.kms_key_arn != ""

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == "" ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn == "" ? null : var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_ownership_controls" "landing" {
  count  = var.create_landing_bucket ? 1 : 0
  bucket = aws_s3_bucket.landing[0].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "landing" {
  count  = var.create_landing_bucket ? 1 : 0
  bucket = aws_s3_bucket.landing[0].id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# A function that is killed leaves its upload behind; nobody sees it, and it costs.
resource "aws_s3_bucket_lifecycle_configuration" "landing" {
  count  = var.create_landing_bucket ? 1 : 0
  bucket = aws_s3_bucket.landing[0].id

  rule {
    id     = "abort-incomplete-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }
}

resource "aws_s3_bucket_notification" "landing" {
  count  = var.create_landing_bucket ? 1 : 0
  bucket = aws_s3_bucket.landing[0].id

  queue {
    queue_arn     = aws_sqs_queue.events.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = var.landing_prefix
  }

  # It looks whether it may send to the queue when it is told to.
  depends_on = [aws_sqs_queue_policy.events]
}

resource "aws_cloudwatch_event_rule" "object_created" {
  count       = var.create_landing_bucket ? 0 : 1
  name        = "${var.name}-object-created"
  description = "New objects below s3://${var.landing_bucket}/${var.landing_prefix}, for Lakefeed"

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    account     = [data.aws_caller_identity.this.account_id]
    detail = {
      bucket = { name = [var.landing_bucket] }
      object = { key = [{ prefix = var.landing_prefix }] }
    }
  })
}

resource "aws_cloudwatch_event_target" "queue" {
  count     = var.create_landing_bucket ? 0 : 1
  rule      = aws_cloudwatch_event_rule.object_created[0].name
  target_id = "queue"
  arn       = aws_sqs_queue.events.arn
}
