output "landing_uri" {
  description = "Put CSV files here"
  value       = "s3://${var.landing_bucket}/${var.landing_prefix}"
}

output "table_uri" {
  description = "The Delta table (or the folder of several)"
  value       = "${var.table_scheme}://${local.table_bucket}/${var.table_prefix}"
}

output "function_name" {
  value = aws_lambda_function.lakefeed.function_name
}

output "log_group_name" {
  value = aws_cloudwatch_log_group.lakefeed.name
}

output "queue_url" {
  value = aws_sqs_queue.events.url
}

output "dead_letter_queue_url" {
  value = aws_sqs_queue.dead_letters.url
}

output "dead_letter_queue_arn" {
  value = aws_sqs_queue.dead_letters.arn
}

output "lease_table_name" {
  description = "For [dynamodb] lease_table in a configuration of your own"
  value       = aws_dynamodb_table.leases.name
}
