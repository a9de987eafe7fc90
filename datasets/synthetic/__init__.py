"""A ray-cast LiDAR over procedurally generated streets, written in the KITTI layout."""
