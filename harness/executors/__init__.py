"""Where groups are computed: in this process, in one per device, or on a Ray cluster; nothing else depends on which."""
