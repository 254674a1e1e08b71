"""Images made to fool one model, shown to others."""
