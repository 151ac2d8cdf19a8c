module peerdiscovery.dev/lab/cluster/node

go 1.26.0
