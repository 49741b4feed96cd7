"""`python -m acl_tf` is `acl-tf`."""

from acl_tf.cli import main

main()
