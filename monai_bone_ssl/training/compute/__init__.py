"""What training runs on: several processes, cached images, versions of libraries."""
