# A bucket for uploads, a table for locks, and the roles of the server and of the sweep, as in
# template.yaml. The outputs are the values of the settings. See docs/deployment.md.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "bucket" {
  type        = string
  description = "The value of TUS_S3_BUCKET"
}

variable "locks" {
  type        = string
  default     = "dynamodb"
  description = "The value of TUS_LOCKER. dynamodb creates a table."
  validation {
    condition     = contains(["dynamodb", "s3", "file"], var.locks)
    error_message = "Expected dynamodb, s3 or file."
  }
}

variable "versioning" {
  type        = bool
  default     = false
  description = "Whether deleted and replaced files stay readable for 30 days"
}

variable "trusted_service" {
  type        = string
  default     = "ecs-tasks.amazonaws.com"
  description = "Where the server runs: also ec2.amazonaws.com, pods.eks.amazonaws.com"
}

variable "download_origin" {
  type        = string
  default     = ""
  description = "The origin of pages that follow the redirects of TUS_DOWNLOAD_REDIRECT, if any"
}

resource "aws_s3_bucket" "uploads" {
  bucket = var.bucket
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_public_access_block" "uploads" {
  bucket                  = aws_s3_bucket.uploads.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "uploads" {
  bucket = aws_s3_bucket.uploads.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "uploads" {
  bucket = aws_s3_bucket.uploads.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "uploads" {
  bucket = aws_s3_bucket.uploads.id
  versioning_configuration {
    status = var.versioning ? "Enabled" : "Suspended"
  }
}

resource "aws_s3_bucket_cors_configuration" "uploads" {
  count  = var.download_origin == "" ? 0 : 1
  bucket = aws_s3_bucket.uploads.id
  cors_rule {
    allowed_origins = [var.download_origin]
    allowed_methods = ["GET", "HEAD"]
    allowed_headers = ["*"]
    expose_headers  = ["Content-Disposition", "Content-Length", "Content-Range", "ETag"]
    max_age_seconds = 86400
  }
}

# The rules of lifecycle.json.
resource "aws_s3_bucket_lifecycle_configuration" "uploads" {
  bucket     = aws_s3_bucket.uploads.id
  depends_on = [aws_s3_bucket_versioning.uploads]

  rule {
    id     = "old-versions-of-records-and-tails"
    status = "Enabled"
    filter {
      prefix = "tus/"
    }
    noncurrent_version_expiration {
      noncurrent_days = 1
    }
    expiration {
      expired_object_delete_marker = true
    }
  }

  rule {
    id     = "old-versions-of-files"
    status = "Enabled"
    filter {
      prefix = "files/"
    }
    noncurrent_version_expiration {
      noncurrent_days = 30
    }
    expiration {
      expired_object_delete_marker = true
    }
  }

  rule {
    id     = "abandoned-multipart-uploads"
    status = "Enabled"
    filter {
      prefix = "files/"
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 14
    }
  }

  rule {
    id     = "abandoned-locks"
    status = "Enabled"
    filter {
      prefix = "tus/locks/"
    }
    expiration {
      days = 2
    }
  }
}

resource "aws_s3_bucket_policy" "uploads" {
  bucket = aws_s3_bucket.uploads.id
  policy = data.aws_iam_policy_document.bucket.json
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "RequireTLS"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.uploads.arn, "${aws_s3_bucket.uploads.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

# DynamoDB removes items after their time to live. Locks are released without it.
resource "aws_dynamodb_table" "locks" {
  count        = var.locks == "dynamodb" ? 1 : 0
  name         = "${var.bucket}-locks"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id"
  attribute {
    name = "id"
    type = "S"
  }
  ttl {
    attribute_name = "expires"
    enabled        = true
  }
}

# The policy of the server: iam-policy.json.
data "aws_iam_policy_document" "server" {
  statement {
    sid = "Uploads"
    actions = [
      "s3:AbortMultipartUpload",
      "s3:DeleteObject",
      "s3:GetObject",
      "s3:ListMultipartUploadParts",
      "s3:PutObject",
    ]
    resources = ["${aws_s3_bucket.uploads.arn}/*"]
  }

  dynamic "statement" {
    for_each = aws_dynamodb_table.locks
    content {
      sid       = "LocksInDynamoDB"
      actions   = ["dynamodb:DeleteItem", "dynamodb:UpdateItem"]
      resources = [statement.value.arn]
    }
  }
}

# The sweep's policy: the server's, and permission to list the bucket.
data "aws_iam_policy_document" "sweep" {
  source_policy_documents = [data.aws_iam_policy_document.server.json]
  statement {
    sid       = "ListUploads"
    actions   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [aws_s3_bucket.uploads.arn]
  }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]
    principals {
      type        = "Service"
      identifiers = [var.trusted_service]
    }
  }
}

resource "aws_iam_role" "server" {
  name_prefix        = "tus-server-"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "server" {
  role   = aws_iam_role.server.id
  policy = data.aws_iam_policy_document.server.json
}

resource "aws_iam_role" "sweep" {
  name_prefix        = "tus-sweep-"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "sweep" {
  role   = aws_iam_role.sweep.id
  policy = data.aws_iam_policy_document.sweep.json
}

output "settings" {
  description = "The settings of the server and of the sweep"
  value = {
    TUS_S3_BUCKET                 = aws_s3_bucket.uploads.id
    TUS_S3_OBJECT_PREFIX          = "files/"
    TUS_S3_METADATA_OBJECT_PREFIX = "tus/"
    TUS_LOCKER                    = var.locks
    TUS_LOCK_TABLE                = join("", aws_dynamodb_table.locks[*].name)
  }
}

output "server_role_arn" {
  value = aws_iam_role.server.arn
}

output "sweep_role_arn" {
  value = aws_iam_role.sweep.arn
}
