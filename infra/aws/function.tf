data "aws_ssm_parameter" "feed_config" {
  count = var.feed_config_ssm_parameter == "" ? 0 : 1
  name  = var.feed_config_ssm_parameter
}

locals {
  table_bucket = coalesce(var.table_bucket, var.landing_bucket)

  # The feed of somebody who configures nothing.
  made_up_toml = join("\n", compact([
    var.lease_scope == "off" ? "" : "dynamodb.lease_table = \"${aws_dynamodb_table.leases.name}\"",
    var.commit_mode == "dynamodb" ? "dynamodb.log_table = \"${var.delta_log_table}\"" : "",
    "[[feed]]",
    "name = \"${var.name}\"",
    "source = \"s3://${var.landing_bucket}/${var.landing_prefix}\"",
    "table = \"${var.table_scheme}://${local.table_bucket}/${var.table_prefix}\"",
    "on_changed = \"${var.on_changed}\"",
    var.commit_mode == "dynamodb" ? "commit = \"dynamodb\"" : "",
    "lease = { scope = \"${var.lease_scope}\" }",
  ]))

  config_toml = one(concat(
    data.aws_ssm_parameter.feed_config[*].insecure_value,
    var.feed_config_toml == "" ? [] : [var.feed_config_toml],
    var.feed_config_toml == "" && var.feed_config_ssm_parameter == "" ? [local.made_up_toml] : [],
  ))

  configuration = var.feed_config_uri == "" ? {
    LAKEFEED_CONFIG_TOML = local.config_toml
    } : {
    LAKEFEED_CONFIG = var.feed_config_uri
  }

  encryption = var.kms_key_arn == "" ? {} : {
    AWS_SERVER_SIDE_ENCRYPTION = "aws:kms"
    AWS_SSE_KMS_KEY_ID         = var.kms_key_arn
  }
}

resource "aws_lambda_function" "lakefeed" {
  function_name    = var.name
  description      = "CSV objects into a Delta table, exactly once"
  role             = aws_iam_role.function.arn
  filename         = var.function_zip
  source_code_hash = filebase64sha256(var.function_zip)
  handler          = "bootstrap"
  runtime          = "provided.al2023"
  architectures    = [var.architecture]
  memory_size      = var.memory_size
  timeout          = var.timeout_seconds

  reserved_concurrent_executions = var.reserved_concurrency

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.lakefeed.name
  }

  environment {
    variables = merge(local.configuration, local.encryption, {
      LAKEFEED_LOG = "warn,lakefeed=${var.log_level},delta_kernel=off,delta_kernel_default_engine=off"
    })
  }

  lifecycle {
    precondition {
      condition = 1 >= length(compact([
        var.feed_config_toml, var.feed_config_uri, var.feed_config_ssm_parameter
      ]))
      error_message = "Give one of feed_config_toml, feed_config_uri and feed_config_ssm_parameter, or none."
    }
  }
}

resource "aws_lambda_function_event_invoke_config" "lakefeed" {
  function_name = aws_lambda_function.lakefeed.function_name
  # The next sweep takes what this one could not.
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 300
}

resource "aws_lambda_event_source_mapping" "queue" {
  event_source_arn                   = aws_sqs_queue.events.arn
  function_name                      = aws_lambda_function.lakefeed.arn
  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.batch_window_seconds
  # A message that failed comes again alone; its neighbours are done.
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.maximum_concurrency
  }

  # It looks whether the function may read the queue when it is made.
  depends_on = [aws_iam_role_policy.function]
}

resource "aws_cloudwatch_log_group" "lakefeed" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_event_rule" "sweep" {
  count               = var.sweep_schedule == "" ? 0 : 1
  name                = "${var.name}-sweep"
  description         = "Lakefeed takes what no event told of"
  schedule_expression = var.sweep_schedule
}

resource "aws_cloudwatch_event_target" "sweep" {
  count     = var.sweep_schedule == "" ? 0 : 1
  rule      = aws_cloudwatch_event_rule.sweep[0].name
  target_id = "function"
  arn       = aws_lambda_function.lakefeed.arn
  input     = jsonencode({ lakefeed = { sweep = true } })
}

resource "aws_lambda_permission" "sweep" {
  count          = var.sweep_schedule == "" ? 0 : 1
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.lakefeed.function_name
  principal      = "events.amazonaws.com"
  source_arn     = aws_cloudwatch_event_rule.sweep[0].arn
  source_account = data.aws_caller_identity.this.account_id
}
