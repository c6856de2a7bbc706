# What the function may, and no more.

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "function" {
  name_prefix        = "${var.name}-"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "function" {
  name   = "lakefeed"
  role   = aws_iam_role.function.id
  policy = data.aws_iam_policy_document.function.json
}

locals {
  table_bucket_arn = "arn:${data.aws_partition.this.partition}:s3:::${local.table_bucket}"
}

data "aws_iam_policy_document" "function" {
  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.lakefeed.arn}:*"]
  }

  statement {
    sid       = "TakeMessages"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.events.arn]
  }

  statement {
    sid       = "ReadLanding"
    actions   = ["s3:GetObject"]
    resources = ["${local.landing_bucket_arn}/${var.landing_prefix}*"]
  }

  # IfExists: S3 says "not found" and not "forbidden" of an object that is not there only to who may
  # list, and a request for an object has no prefix. A Delta table must know what is not there. So a
  # listing without a prefix is allowed, too: names, not content.
  statement {
    sid       = "ListLanding"
    actions   = ["s3:ListBucket"]
    resources = [local.landing_bucket_arn]

    condition {
      test     = "StringLikeIfExists"
      variable = "s3:prefix"
      values   = ["${var.landing_prefix}*"]
    }
  }

  statement {
    sid       = "WriteTable"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${local.table_bucket_arn}/${var.table_prefix}/*"]
  }

  statement {
    sid       = "ListTable"
    actions   = ["s3:ListBucket"]
    resources = [local.table_bucket_arn]

    condition {
      test     = "StringLikeIfExists"
      variable = "s3:prefix"
      values   = [var.table_prefix, "${var.table_prefix}/*"]
    }
  }

  dynamic "statement" {
    for_each = var.feed_config_uri == "" ? [] : [trimprefix(var.feed_config_uri, "s3://")]

    content {
      sid       = "ReadConfiguration"
      actions   = ["s3:GetObject"]
      resources = ["arn:${data.aws_partition.this.partition}:s3:::${statement.value}"]
    }
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == "" ? [] : [var.kms_key_arn]

    content {
      sid       = "UseKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }

  statement {
    sid       = "HoldLeases"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [aws_dynamodb_table.leases.arn]
  }

  dynamic "statement" {
    for_each = var.commit_mode == "dynamodb" ? [var.delta_log_table] : []

    content {
      sid     = "CommitThroughDynamoDb"
      actions = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"]
      resources = [join(":", [
        "arn", data.aws_partition.this.partition, "dynamodb", data.aws_region.this.name,
        data.aws_caller_identity.this.account_id, "table/${statement.value}"
      ])]
    }
  }
}
