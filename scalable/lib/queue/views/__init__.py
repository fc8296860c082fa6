"""What the dashboard, the checks and the alerts ask of the queue. Changes nothing but its own notes."""
