"""Where the states of the stacks are: in the state folder at first, then in the object stores of the sites."""
