"""Not distributed. In the workspace, pyright finds `parallel_stepping` only if this folder is a package too."""

__path__ = __import__("pkgutil").extend_path(__path__, __name__)
