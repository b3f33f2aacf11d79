"""`python -m commonspace VERB …`: the command line, whatever the environment's PATH is."""

from commonspace.pipeline.cli.app import main

if __name__ == "__main__":
    main()
