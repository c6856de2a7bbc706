locals {
  # Six times the timeout, as AWS asks for, so that no second delivery begins while the first may still
  # be at work; and the alarm on a message's age gives it time for one more try.
  visibility_seconds = 6 * var.timeout_seconds
  age_alarm_seconds  = 15 * var.timeout_seconds

  landing_bucket_arn = "arn:${data.aws_partition.this.partition}:s3:::${var.landing_bucket}"
}

resource "aws_sqs_queue" "events" {
  name                       = "${var.name}-events"
  sqs_managed_sse_enabled    = true
  visibility_timeout_seconds = local.visibility_seconds
  # As long as it can be: receives_max deliveries of the longest function take 12 hours.
  message_retention_seconds = 604800

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = var.receives_max
  })
}

resource "aws_sqs_queue" "dead_letters" {
  name                    = "${var.name}-dead-letters"
  sqs_managed_sse_enabled = true
  # A message keeps its age when it is moved, so this must be longer than the queue's.
  message_retention_seconds = 1209600
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = var.create_landing_bucket ? "FromLandingBucket" : "FromRule"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.events.arn]

    principals {
      type        = "Service"
      identifiers = [var.create_landing_bucket ? "s3.amazonaws.com" : "events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values = [
        var.create_landing_bucket ? local.landing_bucket_arn : aws_cloudwatch_event_rule.object_created[0].arn
      ]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.this.account_id]
    }
  }
}

resource "aws_sqs_queue_policy" "events" {
  queue_url = aws_sqs_queue.events.id
  policy    = data.aws_iam_policy_document.queue.json
}
