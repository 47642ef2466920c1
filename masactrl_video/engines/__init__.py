"""Workers beside this process that render the chunks of a plan."""
