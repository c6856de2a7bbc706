# The parameters of template.yaml, under the same names in snake_case and with the same defaults.
# Those that are not there: name, function_zip. Those that are only there: BuildMethod.

variable "name" {
  description = "What the function, its log, and everything else here is called."
  type        = string
  default     = "lakefeed"
}

variable "function_zip" {
  description = "The function's archive, as `cargo lambda build --release --arm64 --bin lakefeed-lambda --output-format zip` leaves it."
  type        = string
  default     = "../../target/lambda/lakefeed-lambda/bootstrap.zip"
}

# ---- Where the files land

variable "landing_bucket" {
  description = "The bucket in which the CSV objects land."
  type        = string
}

variable "landing_prefix" {
  description = "The folder in it, with a slash at its end; empty for the whole bucket."
  type        = string
  default     = "landing/"

  validation {
    condition     = can(regex("^([^/\"\\\\*?\\[{]([^\"\\\\*?\\[{]*[^/\"\\\\*?\\[{])?/)?$", var.landing_prefix))
    error_message = "Empty, or a folder with a slash at its end and none at its beginning."
  }
}

variable "create_landing_bucket" {
  description = "false for a bucket that is there already; it must send its events to EventBridge."
  type        = bool
  default     = true
}

# ---- The table

variable "table_bucket" {
  description = "The bucket of the table, which must be there; empty for the landing bucket."
  type        = string
  default     = ""
}

variable "table_prefix" {
  description = "The table's folder in it, without a slash at its end; with a configuration of several tables, the folder that all of them are in."
  type        = string
  default     = "lake/events"

  validation {
    condition     = can(regex("^[^/\"\\\\*?\\[{]([^\"\\\\*?\\[{]*[^/\"\\\\*?\\[{])?$", var.table_prefix))
    error_message = "A folder, without a slash at its beginning or end."
  }
}

variable "kms_key_arn" {
  description = "The key of KMS with which the buckets are encrypted, and the table is written; empty where it is S3's own (SSE-S3)."
  type        = string
  default     = ""
}

# ---- The feed: at most one of the first three; with none, one feed is made up

variable "feed_config_toml" {
  description = "The configuration itself (docs/configuration.md)."
  type        = string
  default     = ""
}

variable "feed_config_uri" {
  description = "Where the configuration is, as s3://bucket/key. It is read at each cold start."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(s3://[^/]+/.+)?$", var.feed_config_uri))
    error_message = "s3://bucket/key."
  }
}

variable "feed_config_ssm_parameter" {
  description = "The name of the parameter of Systems Manager (a String) that holds the configuration. It is read by `terraform apply`."
  type        = string
  default     = ""
}

variable "on_changed" {
  description = "What the feed that is made up does with an object that comes again with other content."
  type        = string
  default     = "skip"

  validation {
    condition     = contains(["skip", "append", "fail"], var.on_changed)
    error_message = "skip, append or fail."
  }
}

# ---- Writers that share the table

variable "commit_mode" {
  description = "conditional_put, or dynamodb for a table that Spark also writes through S3DynamoDBLogStore. Never both on one table."
  type        = string
  default     = "conditional_put"

  validation {
    condition     = contains(["conditional_put", "dynamodb"], var.commit_mode)
    error_message = "conditional_put or dynamodb."
  }
}

variable "table_scheme" {
  description = "How the table's address begins, s3 or s3a. With commit_mode dynamodb, as those Spark jobs write it (mostly s3a, on EMR s3), because the address is the table's name in DynamoDB."
  type        = string
  default     = "s3"

  validation {
    condition     = contains(["s3", "s3a"], var.table_scheme)
    error_message = "s3 or s3a."
  }
}

variable "delta_log_table" {
  description = "The table of S3DynamoDBLogStore, for commit_mode dynamodb."
  type        = string
  default     = "delta_log"
}

variable "create_delta_log_table" {
  description = "true to make that table, if Spark has not made it yet."
  type        = bool
  default     = false
}

variable "lease_scope" {
  description = "Whether the feed that is made up takes a lease: off, commit or run. No row depends on it."
  type        = string
  default     = "commit"

  validation {
    condition     = contains(["off", "commit", "run"], var.lease_scope)
    error_message = "off, commit or run."
  }
}

# ---- The function

variable "architecture" {
  description = "The processor, arm64 or x86_64; as function_zip was built."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "arm64 or x86_64."
  }
}

variable "memory_size" {
  description = "MB. Processor time comes in proportion."
  type        = number
  default     = 512
}

variable "timeout_seconds" {
  description = "How long one invocation may take. A message that failed comes again after six times as long."
  type        = number
  default     = 300

  validation {
    condition     = var.timeout_seconds >= 1 && var.timeout_seconds <= 900
    error_message = "1 to 900 seconds."
  }
}

variable "reserved_concurrency" {
  description = "How many instances are set aside for this function, and the most that there can be; at least maximum_concurrency and one more. -1 for none, 0 stops the function."
  type        = number
  default     = -1
}

variable "log_level" {
  description = "What is logged beside the receipts."
  type        = string
  default     = "warn"
}

# ---- Its queue and its schedule

variable "batch_size" {
  description = "Messages for one invocation, at most; above 10 only with a batch_window_seconds."
  type        = number
  default     = 10
}

variable "batch_window_seconds" {
  description = "How long messages are collected. Longer means larger data files and fewer commits."
  type        = number
  default     = 5
}

variable "maximum_concurrency" {
  description = "How many invocations the queue may start at once. They race for one table's commits."
  type        = number
  default     = 4
}

variable "receives_max" {
  description = "After how many deliveries in vain a message goes to the dead-letter queue. An object that kills the function is known as such at the sixth."
  type        = number
  default     = 8

  validation {
    condition     = var.receives_max >= 6
    error_message = "At least 6."
  }
}

variable "sweep_schedule" {
  description = "When the prefix is listed for what no event told of, as rate(...) or cron(...); empty for never."
  type        = string
  default     = "rate(1 hour)"
}

# ---- Who is told

variable "log_retention_days" {
  description = "How long the log is kept."
  type        = number
  default     = 30
}

variable "alarm_email" {
  description = "Who is told of alarms; the address must be confirmed. Empty for nobody."
  type        = string
  default     = ""
}
